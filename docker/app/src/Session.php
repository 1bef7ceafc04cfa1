<?php

declare(strict_types=1);

namespace Notejam;

/**
 * Who is signed in. Anonymous visitors have no session: their pages write nothing into the
 * database. The session's data are set once, at sign-in.
 */
final class Session
{
    public const COOKIE = 'notejam_session';

    private bool $opened = false;
    private bool $active = false;
    private readonly SessionStore $store;

    public function __construct(
        Database $database,
        private readonly Request $request,
        private readonly bool $secure,
    ) {
        $this->store = new SessionStore($database);
    }

    public function userId(): ?int
    {
        $this->open();
        $id = $_SESSION['user_id'] ?? null;
        return is_int($id) ? $id : null;
    }

    /** The secret behind the CSRF tokens of a signed-in user: 64 hex digits. */
    public function csrfSecret(): string
    {
        $this->open();
        return (string) ($_SESSION['csrf'] ?? '');
    }

    /** A new id at each sign-in, so that an id planted before is worth nothing. */
    public function signIn(int $user): void
    {
        $this->open();
        if ($this->active) {
            session_regenerate_id(true);
        } else {
            $this->start();
        }
        $_SESSION = ['user_id' => $user, 'csrf' => bin2hex(random_bytes(32))];
    }

    public function signOut(): void
    {
        $this->open();
        if ($this->active) {
            $_SESSION = [];
            session_destroy();
            $this->active = false;
        }
    }

    /** After a change of the password: ends the user's other sessions, and keeps this one. */
    public function endOthers(int $user): void
    {
        $this->store->destroyOthers($user, $this->userId() === $user ? (string) session_id() : '');
    }

    /** True when the browser sent an id that is good for nothing any more. */
    public function isStale(): bool
    {
        return $this->opened && !$this->active && $this->request->cookie(self::COOKIE) !== '';
    }

    /** Stores what changed. Before the answer is sent, so that a failure can still be told. */
    public function commit(): void
    {
        if ($this->active) {
            session_write_close();
        }
    }

    /** Stores nothing; PHP would by itself, after the answer, when a failure can no longer be told. */
    public function abandon(): void
    {
        if (session_status() === PHP_SESSION_ACTIVE) {
            session_abort();
        }
    }

    private function open(): void
    {
        if ($this->opened) {
            return;
        }
        $this->opened = true;
        $_SESSION = [];
        if ($this->store->validateId($this->request->cookie(self::COOKIE))) {
            $this->start();
        }
    }

    private function start(): void
    {
        session_set_save_handler($this->store, false);
        session_name(self::COOKIE);
        session_set_cookie_params(Response::cookieOptions($this->secure) + ['lifetime' => 0]);
        session_start([
            'use_strict_mode' => '1', // an id that is not in the table is never taken over
            'use_cookies' => '1',
            'lazy_write' => '1',
            'cache_limiter' => '',
            'gc_probability' => '1',
            'gc_divisor' => '500',
        ]);
        $this->active = true;
    }
}
