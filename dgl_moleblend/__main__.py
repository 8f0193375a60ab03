"""``python -m dgl_moleblend`` is the command line."""

from dgl_moleblend.cli import main

if __name__ == "__main__":
    main(prog_name="dgl-moleblend")
