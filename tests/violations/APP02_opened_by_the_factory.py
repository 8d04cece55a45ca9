# file: src/app/main.py
_create_app = create_app


def create_app(settings=None):
    app = _create_app(settings)
    app.state.resources = open_resources(settings)
    return app
