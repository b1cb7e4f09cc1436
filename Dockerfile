# docker build -t agent-runner .
# Another place for the same: --build-arg PYTHON_IMAGE=registry.example.com/python:3.12-slim (Debian with Python 3.11 or later).
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/agent-runner \
 && /opt/agent-runner/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY clients clients
COPY status status
COPY src src
COPY stubs stubs
COPY tasks tasks
# The versions above are all there is: nothing more is looked for. What builds the wheel stays out of the image.
RUN /opt/build/bin/pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
 && /opt/agent-runner/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /opt/wheel/*.whl

FROM ${PYTHON_IMAGE}
# What walls the commands of agents off; see docs/guides/deploying.md for what a container has to permit.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && bwrap --version
RUN useradd --create-home --uid 10001 agent-runner \
 && install -d -o agent-runner -g agent-runner /var/lib/agent-runner
COPY --from=build /opt/agent-runner /opt/agent-runner
ENV PATH=/opt/agent-runner/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AGENT_RUNNER_DATA_DIR=/var/lib/agent-runner
USER agent-runner
WORKDIR /home/agent-runner
VOLUME /var/lib/agent-runner
EXPOSE 8080 50051
ENTRYPOINT ["agent-runner"]
CMD ["server"]
