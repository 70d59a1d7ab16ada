"""What a VHD is, without I/O: the layout, its structures, geometry, who writes it, and what is mistaken for it."""
