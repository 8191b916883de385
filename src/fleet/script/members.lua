-- Everybody who is registered, and what is kept of the journal.
return { 'members', epoch, first(), last, shown(all(MEMBERS)) }
