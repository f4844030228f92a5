"""Larq and Larq Compute Engine on Keras 2, in a process whose ``tf.keras`` may be Keras 3.

Both say ``tf.keras`` and mean Keras 2, which today is the package ``tf_keras``. Once this package
is imported, their modules, and no others, see ``tf_keras`` under that name, whatever was imported
first and whatever ``TF_USE_LEGACY_KERAS`` says. (tensorflow-model-optimization takes ``tf_keras``
by itself.) Nothing here imports TensorFlow.
"""

import builtins
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

_ON_KERAS2 = ("larq", "larq_compute_engine")


class _TensorFlow(ModuleType):
    """``tensorflow``, but for ``tensorflow.keras``."""

    def __getattr__(self, name: str) -> Any:
        if name == "keras":
            return import_module("tf_keras")
        return getattr(import_module("tensorflow"), name)


_TENSORFLOW = _TensorFlow("tensorflow")


def _import(
    name: str,
    namespace: Any = None,
    local: Any = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """``__import__`` of the modules in :data:`_ON_KERAS2`."""
    if level == 0 and f"{name}.".startswith("tensorflow.keras."):
        module = import_module(name.replace("tensorflow.keras", "tf_keras", 1))
        return module if fromlist else _TENSORFLOW
    module = builtins.__import__(name, namespace, local, fromlist or (), level)
    return _TENSORFLOW if module is sys.modules.get("tensorflow") else module


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code; its ``import`` statements go through :func:`_import`."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the source modules of the packages in :data:`_ON_KERAS2`, nothing else."""
        if fullname.partition(".")[0] not in _ON_KERAS2:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Let Larq and Larq Compute Engine be imported on Keras 2 from now on."""
    sys.meta_path.insert(0, _Finder())
    for package in _ON_KERAS2:
        if package not in sys.modules:
            # An import that failed on Keras 3 leaves the modules behind that came before the fault.
            for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
                del sys.modules[name]
