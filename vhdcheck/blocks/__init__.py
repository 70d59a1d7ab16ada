"""Where blocks lie: the block allocation table and the sector bitmaps, in plain Python and in numpy."""
