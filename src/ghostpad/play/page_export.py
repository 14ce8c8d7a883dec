"""The verb `export`: a world as one page that plays it without a server, or what `labels` exports.

The networks become ONNX graphs that run in ONNX Runtime Web, compiled to WebAssembly. That library is 14 MB
and has its own releases, so it is not part of this package: it comes from npm, at the user's request.
"""

import base64
import gzip
import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpad.errors import UserError
from ghostpad.io import whole_file, whole_folder
from ghostpad.labels.export import ExportConfig
from ghostpad.labels.export import export as export_files
from ghostpad.theme import CSS

if TYPE_CHECKING:
    from ghostpad.world.world_model import WorldModel

RUNTIME = Path("node_modules/onnxruntime-web")
# The smallest build: WebAssembly alone, with its loader inside. With more threads than one it would need
# headers that only a server can send.
_RUNTIME_FILES = {"runtime.mjs": "ort.wasm.bundle.min.mjs", "runtime.wasm": "ort-wasm-simd-threaded.wasm"}
_HERE = Path(__file__).parent
_SCRIPTS = (
    "static/view.js",
    "static/controls.js",
    "offline/world.js",
    "offline/objects.js",
    "offline/page.js",
)


def export(config: ExportConfig) -> None:
    """Write `config.out`, whole or not at all.

    Raises:
        UserError: the options contradict each other, or `config.out` exists (it stays untouched).
    """
    if config.format == "html":
        _export_page(config)
    elif config.world is not None or config.assets or config.runtime is not None:
        raise UserError("--world, --assets and --runtime are for --format html")
    else:
        export_files(config)


def _export_page(config: ExportConfig) -> None:
    if config.world is None or config.model is not None or config.labels is not None:
        raise UserError("--format html is for a world: give --world, and no --model or --labels")
    if config.out.suffix != ".html":
        raise UserError(f"--out {config.out}: give the name of a page, such as world.html")
    folder = config.out.with_suffix(".assets")
    for path in (config.out, *([folder] if config.assets else [])):
        if path.exists():
            raise UserError(f"{path}: already exists; choose another --out, or delete it")
    parts = read_runtime(config.runtime)  # first, for it may be missing
    from ghostpad.world.world_model import WorldModel

    page, own_parts = page_of_world(WorldModel.from_pretrained(config.world), config.world.name)
    scripts = {name: _script(name, part) for name, part in (own_parts | parts).items()}
    if config.assets:
        with whole_folder(folder) as temporary:
            for name, script in scripts.items():
                (temporary / f"{name}.js").write_text(script, encoding="utf-8")
        tags = [f'<script src="{escape(folder.name)}/{name}.js"></script>' for name in scripts]
    else:
        tags = [f"<script>{script}</script>" for script in scripts.values()]
    with whole_file(config.out) as temporary:
        temporary.write_text(page.replace("<!--PARTS-->", "\n".join(tags)), encoding="utf-8")
    files = [config.out, *(folder.iterdir() if config.assets else [])]
    print(f"exported to {config.out}: {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")


def read_runtime(folder: Path | None) -> dict[str, bytes]:
    """The files of ONNX Runtime Web, by the names of their parts; a UserError if they are missing."""
    dist = (folder or RUNTIME) / "dist"
    try:
        return {name: (dist / file).read_bytes() for name, file in _RUNTIME_FILES.items()}
    except OSError:
        raise UserError(
            f"{folder or RUNTIME}: no onnxruntime-web there, which runs the networks in the page; run "
            "'npm install onnxruntime-web' here, or give the folder of that package with --runtime"
        ) from None


def page_of_world(world: "WorldModel", name: str) -> tuple[str, dict[str, bytes]]:
    """The page that plays a world, but for its `<!--PARTS-->`, and these parts by name.

    A UserError if the world has no starts, or the extra `onnx` is missing.
    """
    import numpy as np

    from ghostpad.play.game import map_of_buttons
    from ghostpad.play.networks import graphs, object_settings, scene_maps
    from ghostpad.play.served import ServedWorld, control_map_of
    from ghostpad.play.starts import starts_of_world

    starts, control_map = starts_of_world(world), control_map_of(world)
    served = ServedWorld(
        name=name,
        model_hash=world.model_hash,
        world=world,
        engine="ONNX Runtime Web",
        controls=control_map or map_of_buttons(world),
        named=control_map is not None,
        starts=starts,
        no_emulator="this page has no emulator",
        fps=15.0,
        max_players=1,
        seed=0,
    )
    histories = np.concatenate([world.start(starts.read(0, i)).frames for i in range(starts.lengths[0])])
    networks = graphs(world)
    about = served.welcome() | {
        "planes": world.num_channels,
        "history": world.history,
        "features": list(networks["logits"].inputs["features"].shape),
        "graphs": list(networks),
        "starts": len(histories),
        "objects": object_settings(world) if world.uses_objects else None,
    }
    parts = {"starts": histories.tobytes()} | {name: graph.onnx() for name, graph in networks.items()}
    if world.uses_objects:
        parts["scene"] = scene_maps(world)
    return _page(about), parts


def _page(about: dict[str, Any]) -> str:
    script = "\n".join(_without_modules((_HERE / path).read_text(encoding="utf-8")) for path in _SCRIPTS)
    holes = {
        "NAME": escape(about["world"]),
        "STYLE": CSS.read_text(encoding="utf-8") + (_HERE / "static/play.css").read_text(encoding="utf-8"),
        "ABOUT": escape(f"World {about['world']} ({about['hash']}), computed here with {about['engine']}."),
        "WORLD": json.dumps(about).replace("<", "\\u003c"),
        "SCRIPT": script,
    }
    page = (_HERE / "offline/page.html").read_text(encoding="utf-8")
    return re.sub("<!--([A-Z]+)-->", lambda hole: holes.get(hole[1], hole[0]), page)


def _without_modules(script: str) -> str:
    """The source of a module to be joined with others in one: without imports and exports."""
    return re.sub(r"^import .*\n|^export (?=class|function|const)", "", script, flags=re.MULTILINE)


def _script(name: str, part: bytes) -> str:
    packed = base64.b64encode(gzip.compress(part, 9, mtime=0)).decode()
    return f'PARTS["{name}"]="{packed}";'
