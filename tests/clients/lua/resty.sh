#!/bin/sh
# Runs resty.lua in one nginx process without a listener: resty.sh HOST PORT PASSWORD DIRECTORY
set -eu
PATH="$PATH:/usr/sbin" # a user's own PATH need not reach nginx
export DISKKV_CLIENT_HOST="$1" DISKKV_CLIENT_PORT="$2" DISKKV_CLIENT_PASSWORD="$3"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$4/logs"
cat > "$4/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
env DISKKV_CLIENT_HOST;
env DISKKV_CLIENT_PORT;
env DISKKV_CLIENT_PASSWORD;
env DISKKV_CLIENT_OPEN_PORT;
events { }
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    lua_socket_log_errors off;
    lua_package_path '$here/?.lua;;';
    init_worker_by_lua_file '$here/resty.lua';
}
CONF
exec nginx -p "$4" -c "$4/nginx.conf" -e stderr
