<?php

declare(strict_types=1);

namespace Notejam;

/** One request from its globals to its answer. */
final class App
{
    private const TITLES = [
        403 => 'Refused',
        404 => 'Not found',
        405 => 'Method not allowed',
        409 => 'Conflict',
        413 => 'Too large',
        422 => 'Not valid',
        429 => 'Too many attempts',
        500 => 'Error',
        503 => 'Not available at the moment',
    ];

    public function __construct(private readonly Config $config)
    {
    }

    public function run(): void
    {
        ini_set('display_errors', '0');
        // A warning is a mistake in the code: to the log and a 500, not into the page. What is
        // merely deprecated goes to PHP's own log.
        set_error_handler(static function (int $level, string $message, string $file, int $line): bool {
            if ((error_reporting() & $level & ~(E_DEPRECATED | E_USER_DEPRECATED)) === 0) {
                return false;
            }
            throw new \ErrorException($message, 0, $level, $file, $line);
        });
        $context = new Context($this->config, Request::fromGlobals());
        $response = $this->respond($context)->with('X-Instance', $this->config->instance);
        $response->send($context->request->method !== 'HEAD', $context->secure);
    }

    private function respond(Context $context): Response
    {
        try {
            $response = $this->dispatch($context);
            $context->csrf->attach($response);
            if ($context->session->isStale()) {
                $response->withoutCookie(Session::COOKIE);
            }
            $context->session->commit();
            return $response;
        } catch (\Throwable $e) {
            $context->session->abandon();
            header_remove('Set-Cookie'); // of a session that was not stored
            return $this->failure($context, $e);
        }
    }

    private function dispatch(Context $context): Response
    {
        $request = $context->request;
        $route = Router::match($request);
        if ($route instanceof Response) {
            return $route;
        }
        [$class, $method, $arguments, $needsUser] = $route;
        if ($request->isTruncated()) {
            throw new HttpError(413, 'The form is larger than this server takes (' . ini_get('post_max_size') . ').');
        }
        // Also for pages that would not need it: a site without its database is not there.
        $context->database->require();
        if ($needsUser && $context->user() === null) {
            $next = $request->path . ($request->queryString === '' ? '' : '?' . $request->queryString);
            return $context->redirect('/signin/?next=' . rawurlencode($next));
        }
        if ($request->method === 'POST' && !$request->isApi()) {
            $context->csrf->check();
        }
        return (new $class($context))->$method(...$arguments);
    }

    private function failure(Context $context, \Throwable $e): Response
    {
        if ($e instanceof HttpError) {
            return $this->errorResponse($context, $e->status, $e->getMessage(), $e->headers);
        }
        if ($e instanceof Unavailable) {
            error_log('notejam: 503: ' . $e->getMessage());
            return $this->errorResponse($context, 503, $e->notice . ' Try again in a moment.', ['Retry-After' => (string) $e->retryAfter]);
        }
        error_log(sprintf('notejam: 500: %s: %s at %s:%d', $e::class, $e->getMessage(), $e->getFile(), $e->getLine()));
        return $this->errorResponse($context, 500, 'Something went wrong here. It is in the log of the server.', []);
    }

    /** @param array<string, string> $headers */
    private function errorResponse(Context $context, int $status, string $message, array $headers): Response
    {
        $response = $context->request->isApi()
            ? Response::json(['error' => $message], $status)
            : $context->errorPage($status, self::TITLES[$status] ?? 'Error', $message);
        foreach ($headers as $name => $value) {
            $response->with($name, $value);
        }
        return $response;
    }
}
