"""Opens, reads and closes in every way that allocates; a leak sanitizer looks at what is left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cvdecode
from cvdecode import coviar


def work(path: Path, index: Path) -> None:
    with cvdecode.VideoReader(path, ("mv", "qp"), rgb="key", index_file=index) as video:
        video.get_frames_at([5, 2])
        for _ in video.batches(4):
            pass
    data = path.read_bytes()
    cvdecode.accumulate(cvdecode.VideoReader(data), [3])
    cvdecode.probe(data)
    for end in range(0, len(data), len(data) // 9 + 1):
        try:
            cvdecode.read(data[:end], rgb="all")
        except cvdecode.Error:
            continue


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        for name, *options in (
            ("a.mp4", "-c:v", "libx264", "-bf", "2", "-g", "6"),
            ("b.avi", "-c:v", "mpeg4", "-g", "6"),
            ("c.ts", "-c:v", "mpeg2video", "-g", "6"),
        ):
            path = Path(folder) / name
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25",
                 "-frames:v", "14", *options, str(path)],
                check=True,
                env={},  # without the sanitizer
            )  # fmt: skip
            for _ in range(3):
                work(path, Path(folder) / f"{name}.index")
        for representation in (0, 1, 2):
            coviar.load(Path(folder) / "b.avi", 1, 3, representation, True)
        coviar.close()
    print("read again and again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
