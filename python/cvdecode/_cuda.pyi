# The optional module for GPUs, built with CVDECODE_CUDA=ON. Private: only _device imports it.

runtime_version: str

def devices() -> tuple[int, str]: ...
def launch(
    device: int, stream: int, kernel: int, steps: int, count: int, width: int, height: int
) -> None: ...
