"""Trees of data sets as they lie on disk, of tiny frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (64, 48)
"""Width and height of every frame."""


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write a picture, of the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def color(brightness: int, seed: int = 0) -> np.ndarray:
    """Return a visible frame of a mean brightness."""
    noise = np.random.default_rng(seed).integers(-20, 21, (SIZE[1], SIZE[0], 3))
    return np.clip(brightness + noise, 0, 255).astype(np.uint8)


def gray(seed: int, dtype: type = np.uint8) -> np.ndarray:
    """Return a thermal frame, like no other of another seed; 16 bits are counts around 7000."""
    pixels = np.random.default_rng(seed).integers(0, 200, (SIZE[1], SIZE[0]))
    return (pixels + (0 if dtype is np.uint8 else 7000)).astype(dtype)


def coco(
    path: Path, images: dict[str, list[tuple[float, float, float, float]]], extra: dict[str, Any] | None = None
) -> Path:
    """Write COCO JSON: boxes of persons by file name, and what else an image's entry holds."""
    entries: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for number, (name, boxes) in enumerate(images.items(), 100):
        entries.append(
            {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1], **(extra or {}).get(name, {})}
        )
        for box in boxes:
            own = {"id": len(marks), "image_id": number, "category_id": 1, "bbox": list(box), "area": box[2] * box[3]}
            marks.append({**own, "iscrowd": 0})
    names = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": entries, "annotations": marks, "categories": names}))
    return path


def write_flir_v1(root: Path) -> Path:
    """Write the first release: frames 1 to 4 of train (day, night, dusk, no visible frame), 11 and 12 of val."""
    bright = {"train": {1: 180, 2: 20, 3: 80, 4: None}, "val": {11: 20, 12: 180}}
    for part, frames in bright.items():
        for number, brightness in frames.items():
            name = f"FLIR_{number:05d}"
            save(root / part / "thermal_8_bit" / f"{name}.jpeg", gray(number))
            save(root / part / "thermal_16_bit" / f"{name}.tiff", gray(number, np.uint16))
            if brightness is not None:
                save(root / part / "RGB" / f"{name}.jpg", color(brightness, number))
        boxes = {f"thermal_8_bit/FLIR_{number:05d}.jpeg": [(20, 16, 8, 12)] for number in frames}
        coco(root / part / "thermal_annotations.json", boxes)
    save(root / "video" / "thermal_8_bit" / "FLIR_video_00001.jpeg", gray(99))
    (root / "ReadMe.txt").write_text("terms")
    return root


def write_flir_v2(root: Path) -> Path:
    """Write the second release: day, dusk and night in each folder; in the videos ``hours`` of visible frames only."""
    for room in ("images_rgb_train", "images_thermal_train", "images_rgb_val", "images_thermal_val"):
        images, extra = {}, {}
        for number, hours in enumerate(("day", "dawn/dusk", "night")):
            name = f"data/video-{room[7:12]}{hours[:2]}-frame-{number:06d}-hash{number}.jpg"
            seed = len(room) + number
            save(root / room / name, color(120, seed) if "rgb" in room else gray(seed))
            if "thermal" in room:
                save(root / room / "analyticsData" / f"{Path(name).stem}.tiff", gray(seed, np.uint16))
            images[name], extra[name] = [(20, 16, 8, 12)], {"extra_info": {"hours": hours, "weather": "clear"}}
        coco(root / room / "coco.json", images, extra)
    pairs = {}
    for number, hours in enumerate(("day", "night")):
        names = {kind: f"data/video-{kind}{hours}-frame-000005-x.jpg" for kind in ("rgb", "thermal")}
        save(root / "video_rgb_test" / names["rgb"], color(120, number))
        save(root / "video_thermal_test" / names["thermal"], gray(40 + number))
        pairs[Path(names["rgb"]).name] = Path(names["thermal"]).name
    of_color = {f"data/{name}": {"extra_info": {"hours": name[9:].split("-")[0]}} for name in pairs}
    coco(root / "video_rgb_test" / "coco.json", {name: [] for name in of_color}, of_color)
    coco(root / "video_thermal_test" / "coco.json", {f"data/{name}": [] for name in pairs.values()})
    (root / "rgb_to_thermal_vid_map.json").write_text(json.dumps(pairs))
    return root


def write_kaist(root: Path, frames: int = 22) -> Path:
    """Write KAIST: two videos in each of sets 00 (day), 03 (night), 06 (day of the test) and 09 (night of the test)."""
    for number in (0, 3, 6, 9):
        for video in range(2):
            place = f"set{number:02d}/V{video:03d}"
            for frame in range(frames):
                seed = 1000 * number + 100 * video + frame
                save(root / "images" / place / "visible" / f"I{frame:05d}.jpg", color(120, seed))
                save(root / "images" / place / "lwir" / f"I{frame:05d}.jpg", gray(seed))
                text = root / "annotations" / place / f"I{frame:05d}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text("% bbGt version=3\nperson 20 16 8 12 0 0 0 0 0 0 0\ncyclist 60 40 4 4 1 0 0 0 0 0 0\n")
    return root


def street(seed: int, *, black_hot: bool = False) -> np.ndarray:
    """Return counts of a cold sky over a warm road, 100 a kelvin; turned around where the cold is bright."""
    height = np.linspace(0, 1, SIZE[1])[:, None].repeat(SIZE[0], 1)
    noise = np.random.default_rng(seed).integers(-40, 41, height.shape)
    counts = 27000 + 2500 * height + noise
    return np.rint(57000 - counts if black_hot else counts).astype(np.uint16)


def write_camera(root: Path, frames: int = 5) -> Path:
    """Write what a radiometric camera leaves: black-hot counts in stacks of pages and an array; pictures of the day."""
    for number in range(2):
        pages = [Image.fromarray(street(10 * number + page, black_hot=True)) for page in range(frames)]
        path = root / "night" / f"drive {number}" / "FLIR0001.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        pages[0].save(path, save_all=True, append_images=pages[1:])
    (root / "test").mkdir(parents=True, exist_ok=True)
    np.save(root / "test" / "night.npy", np.stack([street(90 + page, black_hot=True) for page in range(2)]))
    for number in range(2):
        save(root / "day" / f"straße {number}.jpg", color(120, number))
    return root
