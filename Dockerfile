# The server in a container: the executable of a release and Debian's C library, nothing else of ours.
# It needs dist/blueplane-<version>-linux-<machine>, of `python3 build.py binary` or of a release.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS unpacked
COPY dist/ /tmp/dist/
# Unpacked here, and not at the first start: what runs can then have a root that is read-only.
RUN set -- /tmp/dist/blueplane-*-linux-"$(uname -m)" \
    && { [ $# -eq 1 ] || { echo "one executable is wanted in dist, not: $*" >&2; exit 2; }; } \
    && XDG_DATA_HOME=/opt sh "$1" --version \
    && mv /opt/blueplane/versions/* /opt/program

FROM ${BASE}
COPY --from=unpacked /opt/program /opt/blueplane
RUN ln -s /opt/blueplane/blueplane /usr/local/bin/blueplane \
    && install --directory --mode=0700 --owner=1000 --group=1000 /data
ENV BLUEPLANE_HOME=/data
USER 1000:1000
VOLUME /data
# Exit 0 is green or yellow; `docker inspect` shows the first lines, which say what is wrong.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["blueplane", "health"]
ENTRYPOINT ["blueplane"]
CMD ["serve"]
