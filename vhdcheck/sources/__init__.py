"""Where bytes come from: files, buffers, streams, URLs, and the listings of stores."""
