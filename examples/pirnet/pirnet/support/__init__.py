"""What the scripts need around the network: command line, files, photos, distributed runs, reports."""
