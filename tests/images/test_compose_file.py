"""docker/compose.yaml agrees with the images, with their documentation and with the sidecar's options. Runs nothing."""
import re

import pytest

import imagefile
from imagefile import TOP

yaml = pytest.importorskip("yaml", reason="missing: PyYAML (Debian package: python3-yaml)")

COMPOSE = yaml.safe_load((TOP / "docker" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
IMAGES = {name: imagefile.read(name) for name in ("httpd", "php-fpm")}
LONG_LIVED = ("httpd", "php-fpm", "sidecar")


def image_of(service: str) -> imagefile.ImageFile:
    return IMAGES[re.fullmatch(r"mod-demo/([a-z-]+):\$\{VERSION:-.*\}", SERVICES[service]["image"]).group(1)]


def default(text: str) -> str:
    """A value with compose's ${NAME:-default} filled in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


@pytest.mark.parametrize("service", SERVICES)
def test_image_and_version(service):
    image_of(service)
    assert default(SERVICES[service]["image"]).split(":")[1] == imagefile.version()


@pytest.mark.parametrize("service", SERVICES)
def test_build_arguments_are_the_dockerfiles(service):
    build = SERVICES[service]["build"]
    assert (TOP / "docker" / build["context"]).resolve() == TOP
    assert build["dockerfile"] == f"docker/{image_of(service).name}/Dockerfile"
    assert set(build["args"]) <= image_of(service).args
    assert default(build["args"]["BASE"]) == re.search(r"^ARG BASE=(\S+)", image_of(service).text, re.M).group(1)


@pytest.mark.parametrize("service", SERVICES)
def test_variables_are_known(service):
    known = imagefile.documented() | imagefile.sidecar_options() | set(image_of(service).env)
    application = (TOP / "docs" / "application.md").read_text()
    for name in SERVICES[service].get("environment", {}):
        assert name in known or f"`{name}`" in application, f"{service}: nobody reads {name}"


@pytest.mark.parametrize("service", SERVICES)
def test_commands_are_in_the_image(service):
    image, spec = image_of(service), SERVICES[service]
    for command in (spec.get("command"), image.command, image.health, (spec.get("healthcheck") or {}).get("test", [])[1:]):
        if command and command[0] not in ("sh", "NONE"):
            assert command[0] in image.programs, f"{service}: {command[0]} is not in the image"


@pytest.mark.parametrize("service", SERVICES)
def test_no_rights_and_no_writable_root(service):
    spec = SERVICES[service]
    assert spec["read_only"] is True and spec["cap_drop"] == ["ALL"] and spec["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in spec and "privileged" not in spec and image_of(service).user == "10033:10033"


@pytest.mark.parametrize("service", LONG_LIVED)
def test_health_check_and_time_to_end(service):
    spec = SERVICES[service]
    assert spec.get("healthcheck") or image_of(service).health
    assert spec["restart"] == "unless-stopped" and spec["stop_grace_period"]


def test_the_sidecar_has_a_health_check_of_its_own():
    """The image's is php-fpm's."""
    assert SERVICES["sidecar"]["healthcheck"]["test"] == ["CMD", "http-check", "http://127.0.0.1:9180/livez"]


def test_ports():
    assert [s for s in SERVICES if "ports" in SERVICES[s]] == ["httpd"]
    address, _, inside = default(SERVICES["httpd"]["ports"][0]).rpartition(":")
    assert address == "127.0.0.1:8080" and int(inside) in IMAGES["httpd"].ports


def test_backends_are_services_and_their_ports():
    at = SERVICES["httpd"]["environment"]
    for url, ports in ((at["BACKEND_URL"], IMAGES["php-fpm"].ports), (at["HTTPD_STATUS_URL"], IMAGES["php-fpm"].ports)):
        host, port = re.fullmatch(r"fcgi://([a-z-]+):(\d+)(?:/status)?", url).groups()
        assert host in SERVICES and int(port) in ports
    assert SERVICES["sidecar"]["environment"]["SIDECAR_ADVERTISE"] in SERVICES


def test_volumes():
    used = {}
    for name, spec in SERVICES.items():
        for volume in spec.get("volumes", []):
            source, path = volume.split(":")[:2]
            used.setdefault(source, set()).add(path)
    assert set(used) == set(COMPOSE["volumes"])
    assert all(len(paths) == 1 for paths in used.values()), f"a volume is mounted at different paths: {used}"
    # A new volume takes the owner of the image's folder.
    made = IMAGES["php-fpm"].text
    for (path,) in used.values():
        assert re.search(rf"(install -d -o 10033|chown 10033:10033)[^\n&]*{path}\b", made), f"{path} is not the user's in the image"


def test_the_applications_cache_does_not_outlive_its_image():
    assert any(t.startswith("/app/var:") for t in SERVICES["php-fpm"]["tmpfs"])


def test_php_cannot_read_the_key_of_the_control_port():
    assert not any("/app/handover" in v for v in SERVICES["php-fpm"]["volumes"])


def test_the_sidecar_has_a_connection_for_each_worker():
    workers = SERVICES["php-fpm"]["environment"]["PHP_FPM_MAX_CHILDREN"]
    assert SERVICES["sidecar"]["environment"]["SIDECAR_WORKERS"] == workers
    assert default(workers) == IMAGES["php-fpm"].env["PHP_FPM_MAX_CHILDREN"]


def test_order_of_start():
    def after(service):
        return {k: v["condition"] for k, v in SERVICES[service]["depends_on"].items()}
    assert after("sidecar") == {"key": "service_completed_successfully"}
    assert after("post-start") == {"sidecar": "service_healthy"}
    assert after("php-fpm") == {"post-start": "service_completed_successfully"}
    assert after("httpd") == {"php-fpm": "service_healthy"}
