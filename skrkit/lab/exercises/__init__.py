"""The exercises of the notebooks, one module each: `EXERCISES`, a tuple."""
