-- The epoch, and what is kept of its journal.
return { 'extent', epoch, first(), last }
