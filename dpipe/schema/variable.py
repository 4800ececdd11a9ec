"""One name of the vocabulary: what a variable must be, and how a result gets its name.

This module knows how a variable is checked and described, not which variables there are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpipe.errors import SchemaError

if TYPE_CHECKING:  # names are looked up where nothing is computed
    import xarray as xr
from dpipe.schema.facts import Attributes

_KINDS = {"u": "unsigned integer", "i": "integer", "f": "float", "b": "boolean", "U": "text"}


@dataclass(frozen=True)
class Variable:
    """One name of the vocabulary.

    Attributes
    ----------
    name : str
        Name of the variable in a Dataset.
    dims : tuple of str
        Its dimensions, in order.
    kinds : str
        NumPy dtype kinds it may have, for example ``"uif"``.
    unit : str
        Unit of its values (UDUNITS name), ``"1"`` for a pure number.
    meaning : str
        One sentence; it becomes ``attrs["long_name"]``.
    flags : tuple of str
        Meanings of the values 0, 1, 2, ... of a flag variable (CF ``flag_meanings``).
    """

    name: str
    dims: tuple[str, ...]
    kinds: str
    unit: str
    meaning: str
    flags: tuple[str, ...] = ()

    def check(self, ds: "xr.Dataset", name: str | None = None) -> "xr.DataArray":
        """Return the variable from a Dataset, or say what is wrong with it.

        Parameters
        ----------
        ds : xarray.Dataset
            Where to look.
        name : str, optional
            The name it has there, if not its own.

        Returns
        -------
        xarray.DataArray
            The variable, with its dims in the order of the vocabulary.

        Raises
        ------
        SchemaError
            It is missing, has other dims, or another kind of number.
        """
        name = name or self.name
        if name not in ds:
            variables = ", ".join(map(str, ds.data_vars)) or "none"
            raise SchemaError(
                f"no variable {name!r}; expected {self.signature(name)}. Found: {variables}"
            )
        array = ds[name]
        if set(array.dims) != set(self.dims):
            raise SchemaError(
                f"variable {name!r} has dims ({', '.join(map(str, array.dims))}); "
                f"expected {self.signature(name)}"
            )
        kind = "U" if array.dtype.kind == "T" else array.dtype.kind  # text of a store is T
        if kind not in self.kinds:
            allowed = " or ".join(_KINDS.get(kind, kind) for kind in self.kinds)
            raise SchemaError(f"variable {name!r} is {array.dtype}; expected {allowed}")
        return array.transpose(*self.dims)

    def wrap(self, array: "xr.DataArray", **attrs: Any) -> "dict[str, xr.DataArray]":
        """Name a result: the array under this variable's name, with its unit and meaning.

        Parameters
        ----------
        array : xarray.DataArray
            The values, lazy or not; its dims must be those of the vocabulary.
        **attrs
            Further attributes.

        Returns
        -------
        dict of str to xarray.DataArray
            One entry, ready to be unpacked into a Dataset.
        """
        if set(array.dims) != set(self.dims):
            raise SchemaError(
                f"result for {self.signature()} has dims ({', '.join(map(str, array.dims))})"
            )
        described: Attributes = {"long_name": self.meaning, "units": self.unit}
        if self.flags:
            described["flag_values"] = list(range(len(self.flags)))
            described["flag_meanings"] = " ".join(self.flags)
        result = array.transpose(*self.dims).rename(self.name)
        result.attrs = described | attrs
        return {self.name: result}

    def signature(self, name: str | None = None) -> str:
        """Return ``name(dims)``, as people write it."""
        return f"{name or self.name}({', '.join(self.dims)})"
