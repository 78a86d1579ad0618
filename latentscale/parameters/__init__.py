"""One parameter table: structure (named matrices), natural vector, free vector, and the maps between them."""
