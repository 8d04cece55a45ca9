# file: src/app/main.py
_create_app = create_app


def create_app(settings=None):
    app = _create_app(settings)
    hook = app.router.add_event_handler
    hook("startup", print)
    return app
