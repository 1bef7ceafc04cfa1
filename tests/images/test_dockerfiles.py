"""The two Dockerfiles: each builds alone, and what they have in common stays common."""
from imagefile import TOP


def stages(name: str) -> list[str]:
    """What comes before the last stage, without the head's comment."""
    text = (TOP / "docker" / name / "Dockerfile").read_text()
    return [line for line in text[:text.rindex("\nFROM ")].splitlines() if line and not line.startswith("#")]


def test_the_stages_that_build_are_the_same():
    """A Dockerfile can not include another; a change to one of the copies alone would be a mistake."""
    assert stages("httpd") == stages("php-fpm")


def test_only_the_last_stage_is_of_the_images_platform():
    """What compiles and composes runs on the builder's own processor; an emulator would take many times as long."""
    for name in ("httpd", "php-fpm"):
        froms = [line for line in (TOP / "docker" / name / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
        assert [line.split()[1] for line in froms] == ["--platform=${BUILDPLATFORM}"] * 2 + ["--platform=${TARGETPLATFORM}"]
