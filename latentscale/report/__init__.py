"""The HTML report of a fit: ``content`` collects what it says from the results, ``html`` writes it down."""
