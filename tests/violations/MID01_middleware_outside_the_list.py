# file: src/app/main.py
_create_app = create_app


class Odd:
    def __init__(self, app):
        self.app = app

    def __call__(self, scope, receive, send):
        return self.app(scope, receive, send)


def create_app(settings=None):
    app = _create_app(settings)
    app.add_middleware(Odd)
    return app
