"""Template deployments: the language of Resource Manager's templates, and what carries one out."""
