"""Entry point of `python -m trainer`, for torchrun: `torchrun --nproc-per-node 8 -m trainer fit`."""

from trainer.cli import main

if __name__ == "__main__":
    main()
