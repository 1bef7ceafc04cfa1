"""The images: their files, scripts/images, and, where a runtime and the images are there, what is in them."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
