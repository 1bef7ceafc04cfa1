<?php
// One row for each acknowledged request: the evidence of the hand-over tests.
// DATABASE is the instance's own file; INSTANCE its name. ?ms=N takes that long
// in a transaction, ?late=1 writes a second row after the answer.
$db = new PDO('sqlite:' . getenv('DATABASE'), null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10]);
header('X-Instance: ' . getenv('INSTANCE'));
header('Content-Type: text/plain');
$id = $_GET['id'] ?? null;
if ($id === null) {
    echo $db->query('SELECT count(*) FROM writes')->fetchColumn();
    return;
}
$ms = (int) ($_GET['ms'] ?? 0);
if ($ms > 0) {
    usleep($ms * 1000);
}
$db->prepare('INSERT INTO writes (id, instance) VALUES (?, ?)')->execute([$id, getenv('INSTANCE')]);
echo 'ok';
if (isset($_GET['late'])) {
    fastcgi_finish_request();
    usleep(100000);
    $db->prepare('INSERT INTO writes (id, instance) VALUES (?, ?)')->execute(["$id-late", getenv('INSTANCE')]);
}
