"""What every part of Terang agrees on; knows nothing, imports only itself."""
