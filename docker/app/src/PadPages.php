<?php

declare(strict_types=1);

namespace Notejam;

/** One pad: the list of its notes, create, edit, delete. */
final class PadPages
{
    private readonly Notes $notes;

    public function __construct(private readonly Context $context)
    {
        $this->notes = new Notes($context->database);
    }

    public function show(int $id): Response
    {
        $pad = $this->context->pads->get($this->context->userId(), $id);
        return $this->context->page(
            'pad',
            $pad['name'],
            ['pad' => $pad] + NoteList::variables($this->context, $this->notes, $id),
        );
    }

    public function create(): Response
    {
        if ($this->context->request->verb() === 'GET') {
            return $this->formPage('New pad', new Form());
        }
        $form = $this->form();
        if ($form->isValid()) {
            $id = $this->context->pads->create($this->context->userId(), trim($form->value('name')));
            if ($id !== null) {
                return $this->context->redirect('/', 'pad-created');
            }
            $form->fail('name', 'You have ' . Pads::MAX_PER_USER . ' pads already. Delete one first.');
        }
        return $this->formPage('New pad', $form, 422);
    }

    public function edit(int $id): Response
    {
        $pad = $this->context->pads->get($this->context->userId(), $id);
        if ($this->context->request->verb() === 'GET') {
            return $this->formPage('Edit pad', new Form(['name' => $pad['name']]), pad: $pad);
        }
        $form = $this->form();
        if (!$form->isValid()) {
            return $this->formPage('Edit pad', $form, 422, $pad);
        }
        $this->context->pads->rename($this->context->userId(), $id, trim($form->value('name')));
        return $this->context->redirect("/pads/$id/", 'pad-updated');
    }

    public function delete(int $id): Response
    {
        $user = $this->context->userId();
        $pad = $this->context->pads->get($user, $id);
        if ($this->context->request->verb() === 'GET') {
            $count = $this->notes->count($user, $id);
            return $this->context->page('pad_delete', 'Delete pad', ['pad' => $pad, 'count' => $count]);
        }
        $this->context->pads->delete($user, $id);
        return $this->context->redirect('/', 'pad-deleted');
    }

    private function form(): Form
    {
        $form = Form::fromRequest($this->context->request, 'name');
        $form->requireLine('name', Pads::NAME_MAX);
        return $form;
    }

    /** @param array{id: int, name: string}|null $pad */
    private function formPage(string $title, Form $form, int $status = 200, ?array $pad = null): Response
    {
        return $this->context->page('pad_form', $title, ['heading' => $title, 'form' => $form, 'pad' => $pad], $status);
    }
}
