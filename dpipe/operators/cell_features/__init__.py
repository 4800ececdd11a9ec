"""Features of single cells, in two twins: ``cpu`` a picture at a time, ``gpu`` in batches."""
