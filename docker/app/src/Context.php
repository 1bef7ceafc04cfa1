<?php

declare(strict_types=1);

namespace Notejam;

/** What a page works with during one request. */
final class Context
{
    private const FLASH_COOKIE = 'notejam_flash';

    /** Messages that survive one redirect. The cookie holds the key only: nobody can plant a text. */
    private const FLASHES = [
        'signed-up' => 'Your account is created and you are signed in.',
        'signed-in' => 'You are signed in.',
        'signed-out' => 'You are signed out.',
        'password-changed' => 'Your password is changed. Other devices are signed out.',
        'password-reset' => 'Your new password is set. Sign in with it.',
        'note-created' => 'The note is created.',
        'note-updated' => 'The note is updated.',
        'note-deleted' => 'The note is deleted.',
        'pad-created' => 'The pad is created.',
        'pad-updated' => 'The pad is updated.',
        'pad-deleted' => 'The pad and its notes are deleted.',
    ];

    public readonly Database $database;
    public readonly Session $session;
    public readonly Csrf $csrf;
    public readonly Users $users;
    public readonly Pads $pads;
    public readonly bool $secure;
    private readonly View $view;
    /** @var array{id: int, email: string}|null|false false: not looked up yet */
    private array|null|false $user = false;

    public function __construct(public readonly Config $config, public readonly Request $request)
    {
        $this->secure = $request->isHttps() || str_starts_with($config->url, 'https://');
        $this->database = new Database($config->database);
        $this->session = new Session($this->database, $request, $this->secure);
        $this->csrf = new Csrf($this->session, $request);
        $this->users = new Users($this->database);
        $this->pads = new Pads($this->database);
        $this->view = new View($this);
    }

    /** @return array{id: int, email: string}|null */
    public function user(): ?array
    {
        if ($this->user === false) {
            $id = $this->session->userId();
            $this->user = $id === null ? null : $this->users->find($id);
        }
        return $this->user;
    }

    /** Id of the signed-in user, on pages that nobody else gets to. */
    public function userId(): int
    {
        return $this->user()['id'] ?? throw new \LogicException('page without a user');
    }

    /** @param array<string, mixed> $variables */
    public function page(string $template, string $title, array $variables = [], int $status = 200): Response
    {
        $user = $this->user();
        $flash = self::FLASHES[$this->request->cookie(self::FLASH_COOKIE)] ?? null;
        $html = $this->view->page($template, $title, $variables + [
            'user' => $user,
            'pads' => $user === null ? [] : $this->pads->all($user['id']),
            'flash' => $flash,
            'bare' => false,
        ]);
        $response = Response::html($html, $status);
        if ($flash !== null) {
            $response->withoutCookie(self::FLASH_COOKIE);
        }
        return $response;
    }

    /** A page that needs neither the database nor the session. */
    public function errorPage(int $status, string $title, string $message): Response
    {
        return Response::html($this->view->page('error', $title, [
            'status' => $status,
            'message' => $message,
            'user' => null,
            'pads' => [],
            'flash' => null,
            'bare' => true,
        ]), $status);
    }

    public function redirect(string $path, ?string $flash = null): Response
    {
        $response = Response::redirect($path);
        return $flash === null ? $response : $response->withCookie(self::FLASH_COOKIE, $flash);
    }
}
