<?php

declare(strict_types=1);

namespace Notejam;

use PDOException;

/**
 * Acknowledged writes with unique ids, for probes and hand-over tests; without CSRF tokens and
 * without users, therefore off unless NOTEJAM_WRITES_API=1.
 */
final class WritesApi
{
    private const LIMIT_DEFAULT = 1000;
    private const LIMIT_MAX = 10_000;

    private readonly Database $database;

    /** @throws HttpError 404 when it is off */
    public function __construct(private readonly Context $context)
    {
        if (!$context->config->writesApi) {
            throw HttpError::notFound();
        }
        $this->database = $context->database;
    }

    public function writes(): Response
    {
        return $this->context->request->method === 'POST' ? $this->add() : $this->list();
    }

    public function count(): Response
    {
        return Response::json($this->database->row('SELECT count(*) AS count, coalesce(max(rowid), 0) AS last FROM writes'));
    }

    private function add(): Response
    {
        $id = $this->context->request->form('id');
        if (preg_match('/^[A-Za-z0-9._:-]{1,128}$/D', $id) !== 1) {
            throw new HttpError(422, 'id: 1 to 128 of A-Z a-z 0-9 . _ : -');
        }
        $instance = $this->context->config->instance;
        try {
            $this->database->write(fn (): int => $this->database->change(
                'INSERT INTO writes (id, at, instance) VALUES (?, ?, ?)',
                [$id, Database::now(), $instance],
            ));
        } catch (PDOException $e) {
            if (!Database::isConstraint($e)) {
                throw $e;
            }
            throw new HttpError(409, "id $id is written already");
        }
        return Response::json(['id' => $id, 'instance' => $instance], 201);
    }

    private function list(): Response
    {
        $after = $this->number('after', 0, PHP_INT_MAX);
        $limit = $this->number('limit', self::LIMIT_DEFAULT, self::LIMIT_MAX);
        $writes = $this->database->rows(
            'SELECT rowid, id, at, instance FROM writes WHERE rowid > ? ORDER BY rowid LIMIT ?',
            [$after, $limit],
        );
        $next = $writes === [] ? $after : end($writes)['rowid'];
        return Response::json(['writes' => $writes, 'next' => $next]);
    }

    /** @throws HttpError 422 */
    private function number(string $name, int $default, int $max): int
    {
        $text = $this->context->request->query($name);
        if ($text === '') {
            return $default;
        }
        $number = filter_var($text, FILTER_VALIDATE_INT, ['options' => ['min_range' => 0, 'max_range' => $max]]);
        if ($number === false) {
            throw new HttpError(422, "$name: a number from 0 to $max");
        }
        return $number;
    }
}
