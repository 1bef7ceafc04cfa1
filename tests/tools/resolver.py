"""Names as a test wants them: a getaddrinfo() that httpd preloads."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import paths, sanitize


class Resolver:
    """env goes into Httpd(env=…); set() says what the names are from now on."""

    def __init__(self, tmp):
        self.file, so = Path(tmp) / "names", Path(tmp) / "resolver.so"
        subprocess.run([paths.require("cc"), "-shared", "-fPIC", "-O1", "-o", so,
                        Path(__file__).with_suffix(".c"), "-ldl"], check=True)
        preload = f"{sanitize.runtime()} {so}" if paths.SANITIZE else str(so)
        self.env = {"LD_PRELOAD": preload, "RESOLVER_FILE": str(self.file)}
        self.set()

    def set(self, **names: str) -> None:
        """set(php="127.0.0.2 127.0.0.3"): see resolver.c for what else a value may say."""
        new = self.file.with_suffix(".new")
        new.write_text("".join(f"{k} {v}\n" for k, v in names.items()))
        os.chmod(new, 0o644)
        new.rename(self.file)
