"""Further tasks on the skills of a fit: regressions of other scores, and repeated sampling of single items."""
