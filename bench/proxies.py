"""nginx and HAProxy, set up to do what the ingress does for one app, and what a process costs."""

import contextlib
import glob
import os
import socket
import subprocess
import time

import kit

START_SECONDS_MAX = 30
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# As many as the ingress has threads.
WORKERS = os.cpu_count()

NGINX_APP = """
daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid app.pid; error_log stderr crit;
events {{ worker_connections 18000; }}
http {{
    access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on; client_body_temp_path tmp;
    server {{
        listen {port} backlog=4096;
        location = / {{ default_type text/plain; return 200 "{body}"; }}
        location /large {{ alias large; }}
    }}
}}
"""

NGINX = """
daemon off; worker_processes {workers}; worker_rlimit_nofile 20000; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 18000; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    map $http_upgrade $onward {{ default upgrade; "" ""; }}
    upstream app {{ {backends} keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://app; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
            proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $onward;
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread {workers}
    maxconn 9000
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend door
    bind 127.0.0.1:{plain} backlog 4096
    bind 127.0.0.1:{tls} ssl crt {pem} backlog 4096
    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    default_backend app
backend app
    http-reuse always
{servers}
"""


class Proxy:
    """A way to the app: its two ports, and the processes that it takes."""

    def __init__(self, plain, tls, root, headers=()):
        self.ports, self.root, self.headers = {"plain": plain, "tls": tls}, root, list(headers)

    def url(self, scheme, path="/"):
        return f"{'https' if scheme == 'tls' else 'http'}://127.0.0.1:{self.ports[scheme]}{path}"

    def cpu_seconds(self):
        return sum(cpu_seconds(process) for process in family(self.root))

    def resident_mib(self):
        """What the processes have in memory, what they share counted once (the sum of their PSS)."""
        return sum(pss_mib(process) for process in family(self.root))


def family(root):
    """A process and all that descend from it."""
    found = [root]
    for process in found:
        for children in glob.glob(f"/proc/{process}/task/*/children"):
            with contextlib.suppress(OSError), open(children) as file:
                found.extend(int(child) for child in file.read().split())
    return found


def cpu_seconds(process):
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def pss_mib(process):
    with open(f"/proc/{process}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024


@contextlib.contextmanager
def started(ports, *command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nginx(directory, ports, certificate, key):
    plain, tls = kit.free_port(), kit.free_port()
    backends = " ".join(f"server 127.0.0.1:{port};" for port in ports)
    config = f"{directory}/nginx.conf"
    with open(config, "w") as file:
        file.write(NGINX.format(dir=directory, plain=plain, tls=tls, workers=WORKERS, backends=backends,
                                certificate=certificate, key=key))
    with started((plain, tls), "nginx", "-p", directory, "-c", config) as process:
        yield Proxy(plain, tls, process)


@contextlib.contextmanager
def haproxy(directory, ports, certificate, key):
    plain, tls = kit.free_port(), kit.free_port()
    pem, config = f"{directory}/haproxy.pem", f"{directory}/haproxy.cfg"
    with open(pem, "w") as file:
        file.write("".join(open(part).read() for part in (certificate, key)))
    servers = "\n".join(f"    server app{port} 127.0.0.1:{port} pool-max-conn 512" for port in ports)
    with open(config, "w") as file:
        file.write(HAPROXY.format(plain=plain, tls=tls, workers=WORKERS, pem=pem, servers=servers))
    with started((plain, tls), "haproxy", "-db", "-f", config) as process:
        yield Proxy(plain, tls, process)
