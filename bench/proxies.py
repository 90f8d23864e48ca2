"""nginx and HAProxy, set up to do what the ingress does for one app, as far as they can: they know the key and where the
name leads, count what is under way with one and to the other, and say who asks; the app's place; and what a process costs."""

import contextlib
import glob
import json
import os
import socket
import subprocess
import threading
import time

import kit

START_SECONDS_MAX = 30
# This machine's end of a pair of interfaces, and the app's, which is in a network namespace of its own.
NEAR, FAR, BITS = "10.213.77.1", "10.213.77.2", 30
APP_PORT = 8000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# As many as the ingress has threads.
WORKERS = os.cpu_count()
# Of requests under way, with a key and to an app: they are counted by each, and none meets it.
LIMIT = 20000

NGINX_APP = """
daemon off; worker_processes 1; pid {dir}/app.pid; error_log stderr crit;
events {{ worker_connections 16000; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 1h; sendfile on; tcp_nopush on;
    client_body_temp_path {dir}/app-body; proxy_temp_path {dir}/app-proxy; fastcgi_temp_path {dir}/app-fastcgi;
    uwsgi_temp_path {dir}/app-uwsgi; scgi_temp_path {dir}/app-scgi;
    server {{
        listen {port} backlog=4096;
        location = / {{ default_type text/plain; return 200 "{body}"; }}
        location /large {{ alias {dir}/large; }}
    }}
}}
"""

NGINX = """
daemon off; worker_processes {workers}; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 16000; }}
http {{
    access_log off; keepalive_requests 100000000;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    map_hash_bucket_size 256;
    map $http_upgrade $onward {{ default upgrade; "" ""; }}
    map $http_authorization $may_pass {{ default 0; "{key}" 1; }}
    map $host $backend {{ default ""; "{name}" app; }}
    limit_conn_zone $http_authorization zone=keys:1m; limit_conn_zone $host zone=names:1m;
    upstream app {{ server {app}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {certificate}; ssl_certificate_key {certificate_key}; ssl_protocols TLSv1.3;
        limit_conn keys {limit}; limit_conn names {limit};
        if ($may_pass = 0) {{ return 401; }}
        location / {{
            proxy_pass http://$backend; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
            proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $onward;
            proxy_set_header Authorization ""; proxy_set_header X-Real-IP "";
            proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=\\"$host\\"";
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
        }}
    }}
}}
"""

HAPROXY = """
global
    nbthread {workers}
    maxconn 8500
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
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "{key}" }}
    http-request track-sc0 req.hdr(authorization) table keys
    http-request track-sc1 req.hdr(host) table names
    http-request deny deny_status 503 if {{ sc0_conn_cur gt {limit} }} || {{ sc1_conn_cur gt {limit} }}
    http-request del-header authorization
    http-request del-header x-real-ip
    http-request set-header x-forwarded-for %[src]
    http-request set-header x-forwarded-proto http unless {{ ssl_fc }}
    http-request set-header x-forwarded-proto https if {{ ssl_fc }}
    http-request set-header x-forwarded-host %[req.hdr(host)]
    http-request set-header forwarded for=%[src];proto=%[ssl_fc,iif(https,http)];host=\\"%[req.hdr(host)]\\"
    use_backend app if {{ req.hdr(host) -m beg {name} }}
backend keys
    stick-table type string len 128 size 1m expire 10m store conn_cur
backend names
    stick-table type string len 128 size 1m expire 10m store conn_cur
backend app
    http-reuse always
    server app {app} pool-max-conn 512
"""


class Proxy:
    """A way to the app: its two ports, the processes that it takes, what the app is called there, and who may ask for it."""

    def __init__(self, plain, tls, root, name, key):
        self.ports, self.root, self.name, self.key = {"plain": plain, "tls": tls}, root, name, key

    def url(self, scheme, path="/", host="127.0.0.1"):
        return f"{'https' if scheme == 'tls' else 'http'}://{host}:{self.ports[scheme]}{path}"

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
def started(addresses, *command):
    """A server that listens at these; its process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        for address in addresses:
            while True:
                try:
                    socket.create_connection(address, timeout=5).close()
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
def far_away():
    """A network namespace that is one pair of interfaces away; what a command has to begin with to run there."""
    name = f"bench-{os.getpid()}"
    run = lambda *words: subprocess.run(words, check=True)
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "bench-near", "type", "veth", "peer", "name", "bench-far", "netns", name)
        run("ip", "address", "add", f"{NEAR}/{BITS}", "dev", "bench-near")
        run("ip", "link", "set", "bench-near", "up")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{FAR}/{BITS}", "dev", "bench-far")
        run(*inside, "ip", "link", "set", "bench-far", "up")
        yield inside
    finally:
        # The interfaces go with it, when the last process there has ended.
        run("ip", "netns", "delete", name)


@contextlib.contextmanager
def app(directory, large_bytes):
    """nginx far away, with a page and something large."""
    with open(f"{directory}/large", "wb") as file:
        file.truncate(large_bytes)
    config = f"{directory}/app.conf"
    with open(config, "w") as file:
        file.write(NGINX_APP.format(dir=directory, port=APP_PORT, body="x" * 128))
    with far_away() as inside, started([(FAR, APP_PORT)], *inside, "nginx", "-p", directory, "-c", config):
        yield


class Lender(threading.Thread):
    """Stands in for the node towards the ingress: lends connections to what is far away, whichever sandbox is named."""

    def __init__(self, path):
        super().__init__(daemon=True)
        # The ingress links up when it first needs a connection, so it finds us.
        os.rename(path, f"{path}.node")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen()

    def run(self):
        link, _ = self.listener.accept()
        while message := link.recv(4096):
            if order := json.loads(message).get("dial"):
                self.lend(link, order)

    def lend(self, link, order):
        with socket.create_connection((FAR, order["port"]), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            socket.send_fds(link, [json.dumps({"connected": order["id"]}).encode()], [connection.fileno()])


@contextlib.contextmanager
def nginx(directory, certificate, certificate_key, to):
    plain, tls = kit.free_port(), kit.free_port()
    config = f"{directory}/nginx.conf"
    with open(config, "w") as file:
        file.write(NGINX.format(dir=directory, plain=plain, tls=tls, workers=WORKERS, app=f"{FAR}:{APP_PORT}",
                                certificate=certificate, certificate_key=certificate_key, key=to.key, name=to.name,
                                limit=LIMIT))
    with started([("127.0.0.1", plain), ("127.0.0.1", tls)], "nginx", "-p", directory, "-c", config) as process:
        yield Proxy(plain, tls, process, to.name, to.key)


@contextlib.contextmanager
def haproxy(directory, certificate, certificate_key, to):
    plain, tls = kit.free_port(), kit.free_port()
    pem, config = f"{directory}/haproxy.pem", f"{directory}/haproxy.cfg"
    with open(pem, "w") as file:
        file.write("".join(open(part).read() for part in (certificate, certificate_key)))
    with open(config, "w") as file:
        file.write(HAPROXY.format(plain=plain, tls=tls, workers=WORKERS, pem=pem, app=f"{FAR}:{APP_PORT}", key=to.key,
                                  name=to.name, limit=LIMIT))
    with started([("127.0.0.1", plain), ("127.0.0.1", tls)], "haproxy", "-db", "-f", config) as process:
        yield Proxy(plain, tls, process, to.name, to.key)
