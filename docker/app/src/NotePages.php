<?php

declare(strict_types=1);

namespace Notejam;

use PDOException;

/** The list of all notes; one note: show, create, edit, delete. */
final class NotePages
{
    private readonly Notes $notes;

    public function __construct(private readonly Context $context)
    {
        $this->notes = new Notes($context->database);
    }

    public function index(): Response
    {
        return $this->context->page('notes', 'All notes', NoteList::variables($this->context, $this->notes, null));
    }

    public function show(int $id): Response
    {
        $note = $this->notes->get($this->context->userId(), $id);
        return $this->context->page('note', $note['name'], ['note' => $note]);
    }

    public function create(): Response
    {
        $context = $this->context;
        if ($context->request->verb() === 'GET') {
            return $this->formPage('New note', new Form(['pad' => $context->request->query('pad')]));
        }
        return $this->save('New note', 'note-created', function (?int $pad, string $name, string $text) use ($context): void {
            $this->notes->create($context->userId(), $pad, $name, $text);
        });
    }

    public function edit(int $id): Response
    {
        $user = $this->context->userId();
        $note = $this->notes->get($user, $id);
        if ($this->context->request->verb() === 'GET') {
            $values = ['name' => $note['name'], 'text' => $note['text'], 'pad' => (string) $note['pad_id']];
            return $this->formPage('Edit note', new Form($values));
        }
        return $this->save('Edit note', 'note-updated', function (?int $pad, string $name, string $text) use ($user, $id): void {
            $this->notes->update($user, $id, $pad, $name, $text);
        });
    }

    public function delete(int $id): Response
    {
        $user = $this->context->userId();
        $note = $this->notes->get($user, $id);
        if ($this->context->request->verb() === 'GET') {
            return $this->context->page('note_delete', 'Delete note', ['note' => $note]);
        }
        $this->notes->delete($user, $id);
        return $this->context->redirect(self::listPath($note['pad_id']), 'note-deleted');
    }

    /** @param callable(?int, string, string): void $store */
    private function save(string $title, string $flash, callable $store): Response
    {
        $form = Form::fromRequest($this->context->request, 'name', 'text', 'pad');
        $form->requireLine('name', Notes::NAME_MAX);
        $form->fail('text', match (true) {
            trim($form->value('text')) === '' => 'This field is required.',
            strlen($form->value('text')) > Notes::TEXT_MAX => 'Use at most ' . Notes::TEXT_MAX / 1024 . ' KiB of text.',
            default => null,
        });
        $pad = $this->pad($form);
        if (!$form->isValid()) {
            return $this->formPage($title, $form, 422);
        }
        try {
            // Browsers send CRLF; one kind of line end is enough in the database.
            $store($pad, trim($form->value('name')), str_replace("\r\n", "\n", $form->value('text')));
        } catch (PDOException $e) {
            if (!Database::isConstraint($e)) {
                throw $e;
            }
            $form->fail('pad', 'This pad was deleted meanwhile.');
            return $this->formPage($title, $form, 422);
        }
        return $this->context->redirect(self::listPath($pad), $flash);
    }

    /** The chosen pad, if it is one of the user's; '' and 0 are none. */
    private function pad(Form $form): ?int
    {
        $value = $form->value('pad');
        if ($value === '' || $value === '0') {
            return null;
        }
        foreach ($this->context->pads->all($this->context->userId()) as $pad) {
            if ($value === (string) $pad['id']) {
                return $pad['id'];
            }
        }
        $form->fail('pad', 'Choose one of your pads.');
        return null;
    }

    private function formPage(string $title, Form $form, int $status = 200): Response
    {
        return $this->context->page('note_form', $title, ['heading' => $title, 'form' => $form], $status);
    }

    private static function listPath(?int $pad): string
    {
        return $pad === null ? '/' : "/pads/$pad/";
    }
}
