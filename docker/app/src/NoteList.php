<?php

declare(strict_types=1);

namespace Notejam;

/** A page of a list of notes, by the query's `order` and `page`. */
final class NoteList
{
    /** @return array<string, mixed> variables of templates/_notes.php @throws HttpError 404 past the last page */
    public static function variables(Context $context, Notes $notes, ?int $pad): array
    {
        $user = $context->userId();
        $count = $notes->count($user, $pad);
        $pages = max(1, (int) ceil($count / Notes::PER_PAGE));
        $asked = $context->request->query('page');
        $page = $asked === '' ? 1 : (int) $asked;
        if ($page < 1 || $page > $pages) {
            throw HttpError::notFound();
        }
        $order = Notes::order($context->request->query('order'));
        return [
            'notes' => $notes->page($user, $pad, $order, $page),
            'count' => $count,
            'order' => $order,
            'page' => $page,
            'pages' => $pages,
            'padId' => $pad,
        ];
    }
}
