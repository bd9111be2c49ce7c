# The command `unlearn`, with torch for CPUs:
#
#     docker build --tag unlearn .
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/project" unlearn status
#     docker run --publish 8000:8000 --env UNLEARN_SERVE_TOKEN --volume "$PWD:/project" \
#         unlearn serve --host 0.0.0.0
#
# The project key comes with `--env UNLEARN_KEY`; it is never part of the image.
FROM python:3.11.9-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 \
    HOME=/home/unlearn

# The folder that is mounted belongs to another user, and git refuses such a repository otherwise.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*' \
    && useradd --uid 1000 --home-dir /home/unlearn --create-home unlearn \
    && chmod 0777 /home/unlearn

WORKDIR /source
# Packages first: a change of the sources does not download them again.
COPY constraints.txt ./
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY cli cli
COPY stages stages
RUN pip install --constraint constraints.txt '.[llm,receipts,s3,serve]'

USER unlearn
WORKDIR /project

# A server answers for itself, at the port of its command line or of UNLEARN_LISTEN_PORT, as
# `unlearn serve` reads them; any other command is well if the package can be loaded.
HEALTHCHECK --interval=1m --timeout=30s --start-period=2m --retries=3 \
    CMD words="$(tr '\0' '\n' < /proc/1/cmdline)"; \
        if ! printf '%s\n' "$words" | grep --quiet --line-regexp serve; \
        then unlearn --version; exit; fi; \
        port="$(printf '%s\n' "$words" | sed -n -e 's/^--port=//p' -e '/^--port$/{n;p}' | tail -n 1)"; \
        python -c "import sys, urllib.request as r; r.urlopen(f'http://127.0.0.1:{sys.argv[1]}/health')" \
            "${port:-${UNLEARN_LISTEN_PORT:-8000}}"

ENTRYPOINT ["unlearn"]
CMD ["--help"]
