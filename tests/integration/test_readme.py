"""The README's configuration, word for word, below what Debian's apache2.conf and others begin with."""
import re

from tools import http, paths, wait


def test_the_snippet_for_httpd(httpd, php_fpm, tmp):
    public = tmp / "public"
    public.mkdir()
    (public / "style.css").write_text("body { color: #123 }")
    (public / "index.php").write_text("<?php echo 'PHP ran for ', $_SERVER['REQUEST_URI'];")
    fpm = php_fpm(docroot=public).start()
    snippet = re.search(r"^## Use mod_demo .*?^```apache\n(.*?)^```", (paths.TOP / "README.md").read_text(), re.M | re.S).group(1)
    mine = snippet.replace("LoadModule demo_module modules/mod_demo.so\n", "").replace("fcgi://127.0.0.1:9000", fpm.url).replace("/app/public", str(public))
    assert fpm.url in mine and "LoadModule" not in mine
    h = httpd('<Directory "/">\n    Require all denied\n</Directory>\n' + mine, modules=["authz_host"]).start()
    for target in ("/", "/index.php", "/notes/7"):
        assert (r := http.get(h, target)).status == 200 and r.text.startswith(f"PHP ran for {target}"), r
    assert http.get(h, "/style.css").text == "body { color: #123 }"
    wait.until(lambda: http.get(h, "/readyz").status == 200, what="php-fpm to be found")
    assert http.get(h, "/livez").status == 200
    assert "demo_build_info" in http.get(h, "/metrics").text
