"""One file that holds an attempt at a release: evidence, tokens' claims, requests, the doctor's report; redacted."""
