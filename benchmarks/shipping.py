"""What shipping a model and shipping a world have in common."""

import argparse
import shutil
import sys
from pathlib import Path

LIMIT_MB = 16


def shipping_options(description: str | None) -> argparse.ArgumentParser:
    """Options of a script that puts trained weights into the package."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--command", required=True, help="how it was trained, for its card")
    return parser


def shipped_folder(name: str) -> Path:
    """Where the weights of this name lie in the package."""
    return Path(__file__).parents[1] / "src" / "ghostpad" / "weights" / name


def size_or_exit(folder: Path) -> float:
    """Size of the files in MB; removes the folder and ends the program when a wheel should not carry it."""
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    if size > LIMIT_MB:
        shutil.rmtree(folder)
        sys.exit(f"{folder.name}: {size:.1f} MB, but a wheel should carry at most {LIMIT_MB} MB of it")
    return size
