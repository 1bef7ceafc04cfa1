<?php

declare(strict_types=1);

namespace Notejam;

/** Which page answers a path. */
final class Router
{
    /** Who may see a page: everybody, or signed-in users (others are sent to /signin/). */
    private const ANYONE = false;
    private const USER = true;

    /** path → class, method, verbs, access; {id} and {token} become arguments */
    private const ROUTES = [
        '/' => [NotePages::class, 'index', ['GET'], self::USER],
        '/notes/create/' => [NotePages::class, 'create', ['GET', 'POST'], self::USER],
        '/notes/{id}/' => [NotePages::class, 'show', ['GET'], self::USER],
        '/notes/{id}/edit/' => [NotePages::class, 'edit', ['GET', 'POST'], self::USER],
        '/notes/{id}/delete/' => [NotePages::class, 'delete', ['GET', 'POST'], self::USER],
        '/pads/create/' => [PadPages::class, 'create', ['GET', 'POST'], self::USER],
        '/pads/{id}/' => [PadPages::class, 'show', ['GET'], self::USER],
        '/pads/{id}/edit/' => [PadPages::class, 'edit', ['GET', 'POST'], self::USER],
        '/pads/{id}/delete/' => [PadPages::class, 'delete', ['GET', 'POST'], self::USER],
        '/settings/' => [AccountPages::class, 'settings', ['GET', 'POST'], self::USER],
        '/signin/' => [AccountPages::class, 'signIn', ['GET', 'POST'], self::ANYONE],
        '/signout/' => [AccountPages::class, 'signOut', ['GET', 'POST'], self::ANYONE],
        '/signup/' => [AccountPages::class, 'signUp', ['GET', 'POST'], self::ANYONE],
        '/forgot-password/' => [AccountPages::class, 'forgotPassword', ['GET', 'POST'], self::ANYONE],
        '/reset-password/{token}/' => [AccountPages::class, 'resetPassword', ['GET', 'POST'], self::ANYONE],
        '/api/writes' => [WritesApi::class, 'writes', ['GET', 'POST'], self::ANYONE],
        '/api/writes/count' => [WritesApi::class, 'count', ['GET'], self::ANYONE],
    ];

    /**
     * @return array{class-string, string, list<int|string>, bool}|Response page, or the redirect
     *         to the same path with its slash
     * @throws HttpError 404, 405
     */
    public static function match(Request $request): array|Response
    {
        $found = self::find($request->path);
        if ($found !== null) {
            [[$class, $method, $verbs, $access], $arguments] = $found;
            if (!in_array($request->verb(), $verbs, true)) {
                $allow = implode(', ', $verbs[0] === 'GET' ? ['GET', 'HEAD', ...array_slice($verbs, 1)] : $verbs);
                throw new HttpError(405, "This address takes $allow only.", ['Allow' => $allow]);
            }
            return [$class, $method, $arguments, $access];
        }
        // Only a path that exists with its slash is sent there: never to //elsewhere/.
        if (!str_ends_with($request->path, '/') && self::find($request->path . '/') !== null) {
            $query = $request->queryString === '' ? '' : '?' . $request->queryString;
            // 308 keeps method and form
            return Response::redirect($request->path . '/' . $query, $request->verb() === 'GET' ? 301 : 308);
        }
        throw HttpError::notFound();
    }

    /** The path if it stays on this host, else `/`. For values that come from the visitor. */
    public static function safeNext(string $next): string
    {
        // Browsers take a backslash for a slash and skip control characters: //, /\ and /<tab>/ leave the host.
        return preg_match('~^/(?!/)[\x21-\x5b\x5d-\x7e]{0,2000}$~D', $next) === 1 ? $next : '/';
    }

    /** @return array{array{class-string, string, list<string>, bool}, list<int|string>}|null */
    private static function find(string $path): ?array
    {
        if (isset(self::ROUTES[$path])) {
            return str_contains($path, '{') ? null : [self::ROUTES[$path], []];
        }
        $id = '[1-9][0-9]{0,17}';
        if (preg_match("~^/(?:notes|pads)/($id)/(?:edit/|delete/)?$~D", $path, $match) === 1) {
            return [self::ROUTES[preg_replace("~/$id/~", '/{id}/', $path, 1)], [(int) $match[1]]];
        }
        if (preg_match('~^/reset-password/([0-9a-f]{64})/$~D', $path, $match) === 1) {
            return [self::ROUTES['/reset-password/{token}/'], [$match[1]]];
        }
        return null;
    }
}
