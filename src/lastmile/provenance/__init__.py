"""Where results come from: fingerprints of code, manifests of files, and checking results against them."""
