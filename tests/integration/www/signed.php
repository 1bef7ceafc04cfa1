<?php
// A session in the database that moves with a hand-over: ?as=NAME signs in; each
// request counts, and says who is signed in and at which request of theirs.
final class DatabaseSession implements SessionHandlerInterface
{
    private PDO $db;

    public function open(string $path, string $name): bool
    {
        $this->db = new PDO('sqlite:' . getenv('DATABASE'), null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 10]);
        $this->db->exec('CREATE TABLE IF NOT EXISTS signed_in (id TEXT PRIMARY KEY, data TEXT NOT NULL)');
        return true;
    }

    public function read(string $id): string
    {
        $q = $this->db->prepare('SELECT data FROM signed_in WHERE id = ?');
        $q->execute([$id]);
        return (string) $q->fetchColumn();
    }

    public function write(string $id, string $data): bool
    {
        return $this->db->prepare('REPLACE INTO signed_in (id, data) VALUES (?, ?)')->execute([$id, $data]);
    }

    public function destroy(string $id): bool
    {
        return $this->db->prepare('DELETE FROM signed_in WHERE id = ?')->execute([$id]);
    }

    public function close(): bool
    {
        return true;
    }

    public function gc(int $seconds): int|false
    {
        return 0;
    }
}

session_set_save_handler(new DatabaseSession(), true);
session_start(['use_strict_mode' => '0']);
header('Content-Type: text/plain');
if (isset($_GET['as'])) {
    $_SESSION = ['name' => $_GET['as'], 'requests' => 0];
}
if (isset($_SESSION['name'])) {
    $_SESSION['requests']++;
}
$answer = isset($_SESSION['name']) ? "{$_SESSION['name']} {$_SESSION['requests']}" : 'nobody';
session_write_close(); // before the answer: what was told is kept
echo $answer;
