"""The alignment head of the embedded CLAP: trained and measured."""
