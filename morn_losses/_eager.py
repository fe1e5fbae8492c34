"""What stays outside ``torch.compile``: one break of its graph, whatever happens inside."""

# torch.compiler.disable would import the compiler with this package; optimizers of torch do as is done here
from torch._compile import _disable_dynamo as outside_compile

__all__ = ["outside_compile"]
