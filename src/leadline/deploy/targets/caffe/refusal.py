"""What a lowering raises."""


class CannotLower(Exception):
    """Caffe cannot say this; the message is the reason."""
