// load.c - HTTP/1.1 load for an OpenAI-compatible gateway. Single thread, epoll. Prints one JSON line.
//   load -p PORT [-u PATH] [-k KEY] [-M MODEL] [-H 'Name: value'] [-b BODYBYTES] [-t MAXTOKENS] [-s SEED_MS] -m MODE ...
//   -m closed -c CONNS -d SECS          each connection sends the next request when its answer is complete
//   -m rate   -c CONNS -d SECS -r RPS   open loop; latency is counted from the scheduled send time
//   -m stream -c STREAMS -d SECS        each connection runs one SSE stream after another; starts are spread over one second
//   -R N: stop after N requests (else -d); -w SECS: leave out the first SECS from the histograms (default 0.5)
// Latencies in microseconds. chunk_*: delay from the mock writing a chunk to this program reading it (stamp inside the chunk).
// The headers sent are those of the OpenAI Python SDK (17 headers); -1 sends only the four that wrk would.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NB 4096
typedef struct { uint64_t n, b[NB]; double max; } hist;
static int bidx(double us) { uint64_t v = us < 0 ? 0 : (uint64_t)(us * 4); if (v < 256) return v; int e = 63 - __builtin_clzll(v); int i = (e - 7) * 128 + (v >> (e - 7)); return i < NB ? i : NB - 1; }
static double bval(int i) { if (i < 256) return i / 4.0; int e = i / 128 - 1 + 7; uint64_t m = i - (e - 7) * 128; return (double)(m << (e - 7)) / 4.0; }
static void hadd(hist *h, double us) { h->n++; h->b[bidx(us)]++; if (us > h->max) h->max = us; }
static double hq(hist *h, double q) { uint64_t t = (uint64_t)(q * h->n), s = 0; for (int i = 0; i < NB; i++) { s += h->b[i]; if (s > t) return bval(i); } return h->max; }

typedef struct conn { int fd, up, busy, chunked, hdr, cst, stat, first, dead; long left; int64_t t0; uint32_t l4; char hb[8192]; int hn; char tail[64]; int tn; } conn;
static int ep, stream_mode; static char *req; static int reqn; static int port; static const char *host = "127.0.0.1";
static hist lat, ttfb, chk; static uint64_t done, errs, non2xx, chunks, bytes, conns_made, incomplete; static int64_t t_warm;
static int64_t now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }

static void copen(conn *c) {
  int on = 1; struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)}; inet_pton(AF_INET, host, &a.sin_addr);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (void *)&a, sizeof a)) { perror("connect"); exit(1); }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c}; epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e); c->up = 1; conns_made++;
}
static void csend(conn *c, int64_t t0) {
  if (!c->up) copen(c);
  c->busy = 1; c->hdr = 1; c->hn = 0; c->cst = 0; c->first = 1; c->t0 = t0; c->tn = 0; c->l4 = 0;
  if (send(c->fd, req, reqn, MSG_NOSIGNAL) != reqn) { errs++; }
}
static void stamps(conn *c, const char *p, int n, int64_t t) {  // scan for @digits@ ; carries the tail over reads
  static char b[1 << 17]; int m = c->tn; memcpy(b, c->tail, m); memcpy(b + m, p, n); m += n;
  char *s = b, *e = b + m, *q; int keep = 0;
  while ((q = memchr(s, '@', e - s))) {
    char *z = memchr(q + 1, '@', e - q - 1);
    if (!z) { keep = e - q; if (keep > 40) keep = 0; break; }
    long long v = atoll(q + 1); if (v > 0) { chunks++; if (t > t_warm) hadd(&chk, (t - v) / 1000.0); }
    s = z + 1;
  }
  memcpy(c->tail, e - keep, keep); c->tn = keep;
}
static void cdone(conn *c, int64_t t) {
  c->busy = 0; done++;
  if (c->stat < 200 || c->stat > 299) { non2xx++; if (non2xx == 1) fprintf(stderr, "first non-2xx: %.*s\n", c->hn > 300 ? 300 : c->hn, c->hb); }
  if (c->t0 > t_warm) hadd(&lat, (t - c->t0) / 1000.0);
}
static int feed(conn *c, char *p, int n, int64_t t) {  // 1 when the response is complete
  bytes += n;
  if (c->hdr) {
    int old = c->hn, k = n; if (old + k > (int)sizeof c->hb - 1) k = sizeof c->hb - 1 - old;
    memcpy(c->hb + old, p, k); c->hn += k; c->hb[c->hn] = 0;
    char *e = memmem(c->hb, c->hn, "\r\n\r\n", 4); if (!e) return 0;
    c->hdr = 0; e[2] = 0; c->stat = atoi(c->hb + 9); c->chunked = 0; c->left = -1;
    char *h = strcasestr(c->hb, "\r\ncontent-length:"); if (h) c->left = atol(h + 17);
    if (strcasestr(c->hb, "\r\ntransfer-encoding: chunked")) c->chunked = 1;
    int used = e + 4 - c->hb - old; p += used; n -= used; if (c->t0 > t_warm) hadd(&ttfb, (t - c->t0) / 1000.0);
    if (!c->chunked && c->left == 0) return 1;
  }
  if (stream_mode && n) stamps(c, p, n, t);
  if (!c->chunked) { if (c->left >= 0) { c->left -= n; return c->left <= 0; } return 0; }
  while (n > 0) {  // chunk states: 0 size line, 1 data, 2 CRLF after data, 3 trailer
    if (c->cst == 0) { char ch = *p++; n--; if (ch == '\n') { if (c->l4 == 0) c->cst = 3, c->hn = 0; else { c->left = c->l4; c->cst = 1; } c->l4 = 0; } else if (ch >= '0' && ch <= '9') c->l4 = c->l4 * 16 + ch - '0'; else if ((ch | 32) >= 'a' && (ch | 32) <= 'f') c->l4 = c->l4 * 16 + (ch | 32) - 'a' + 10; }
    else if (c->cst == 1) { long k = c->left < n ? c->left : n; p += k; n -= k; c->left -= k; if (!c->left) c->cst = 2; }
    else if (c->cst == 2) { if (*p == '\n') c->cst = 0; p++; n--; }
    else { if (*p == '\n') return 1; p++; n--; }
  }
  return 0;
}
int main(int ac, char **av) {
  int o, nc = 1, small = 0, body = 400, maxtok = 60; long seed = 0, maxreq = 0; double secs = 5, rps = 0, warm = 0.5; const char *mode = "closed", *path = "/v1/chat/completions", *key = "sk-test", *model = "gpt-4o-mini"; char extra[4096] = "";
  while ((o = getopt(ac, av, "p:u:k:M:H:b:t:s:m:c:d:r:R:w:1")) > 0) switch (o) {
    case 'p': port = atoi(optarg); break; case 'u': path = optarg; break; case 'k': key = optarg; break; case 'M': model = optarg; break;
    case 'H': strcat(extra, optarg); strcat(extra, "\r\n"); break; case 'b': body = atoi(optarg); break; case 't': maxtok = atoi(optarg); break;
    case 's': seed = atol(optarg); break; case 'm': mode = optarg; break; case 'c': nc = atoi(optarg); break; case 'd': secs = atof(optarg); break;
    case 'r': rps = atof(optarg); break; case 'R': maxreq = atol(optarg); break; case 'w': warm = atof(optarg); break; case '1': small = 1; break; default: return 2; }
  signal(SIGPIPE, SIG_IGN); struct rlimit rl = {65536, 65536}; setrlimit(RLIMIT_NOFILE, &rl);
  stream_mode = !strcmp(mode, "stream"); int open_loop = !strcmp(mode, "rate");
  char *bb = malloc(body + 4096), *filler = malloc(body + 4096); int fl = 0;
  char seedf[64] = ""; if (seed) snprintf(seedf, sizeof seedf, ",\"seed\":%ld", seed);
  for (int pass = 0; pass < 2; pass++) {  // second pass: pad the user message to the body size asked for
    int bn = sprintf(bb, "{\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant. Answer briefly and exactly.\"},{\"role\":\"user\",\"content\":\"What is the capital of France, and on which river does it stand?%.*s\"}],\"model\":\"%s\",\"max_tokens\":%d,\"temperature\":0.7%s%s}", fl, filler, model, maxtok, seedf, stream_mode ? ",\"stream\":true" : "");
    if (pass == 0 && body > bn) { fl = body - bn; for (int i = 0; i < fl; i++) filler[i] = " lorem ipsum dolor sit amet\\n"[i % 29]; if (filler[fl - 1] == '\\') filler[fl - 1] = '.'; }
  }
  int bn = strlen(bb); req = malloc(bn + 8192);
  reqn = sprintf(req, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%sAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, port,
    small ? "" : "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\nUser-Agent: AsyncOpenAI/Python 2.6.1\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.6.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\nX-Stainless-Async: async:asyncio\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n", key, extra, bn, bb);
  ep = epoll_create1(0); conn *cs = calloc(nc, sizeof *cs); struct epoll_event ev[512]; static char buf[1 << 16];
  for (int i = 0; i < nc; i++) copen(&cs[i]);
  int64_t t0 = now_ns(), tend = t0 + (int64_t)(secs * 1e9), next = t0; t_warm = t0 + (int64_t)(warm * 1e9);
  int64_t step = rps > 0 ? (int64_t)(1e9 / rps) : 0; uint64_t issued = 0; int rr = 0, started = 0; int64_t *backlog = malloc(8 * 4000000); long bh = 0, bt = 0;
  if (!open_loop && !stream_mode) { for (int i = 0; i < nc; i++) { csend(&cs[i], now_ns()); issued++; } started = nc; }
  int64_t drain = 0;
  for (;;) {
    int64_t t = now_ns(); int stop = t >= tend || (maxreq && issued >= (uint64_t)maxreq);
    if (stop) { if (!drain) drain = t; int busy = 0; for (int i = 0; i < nc; i++) busy += cs[i].busy; if (!busy && bh == bt) break; if (t - drain > 10000000000LL) { incomplete = busy; break; } if (stream_mode && t - drain > 200000000LL && !maxreq) { incomplete = busy; break; } }
    int64_t wait = 50000000;
    if (stream_mode && started < nc && !stop) { while (started < nc && t >= t0 + (int64_t)((double)started / nc * 1e9)) { csend(&cs[started++], t); issued++; } if (wait > 1000000) wait = 1000000; }
    if (open_loop) {
      if (!stop) while (next <= t && bt < 4000000) { backlog[bt++] = next; next += step; }
      while (bh < bt) { int k = -1; for (int j = 0; j < nc; j++) { int i = (rr + j) % nc; if (!cs[i].busy) { k = i; break; } } if (k < 0) break; rr = (k + 1) % nc; csend(&cs[k], backlog[bh++]); issued++; }
      if (!stop) { wait = next - now_ns(); if (wait < 0) wait = 0; }
    }
    struct timespec ts = {wait / 1000000000, wait % 1000000000};
    int n = epoll_pwait2(ep, ev, 512, &ts, NULL);
    for (int i = 0; i < n; i++) {
      conn *c = ev[i].data.ptr; int r = recv(c->fd, buf, sizeof buf, MSG_DONTWAIT);
      if (r < 0 && errno == EAGAIN) continue;
      int64_t tt = now_ns();
      if (r <= 0) { if (c->busy && !(c->left < 0 && !c->chunked && !c->hdr)) errs++; else if (c->busy) cdone(c, tt);
        close(c->fd); c->up = 0; int was = c->busy; c->busy = 0; if (was && !stop && !open_loop) { csend(c, tt); issued++; } continue; }
      if (!c->busy) continue;
      if (feed(c, buf, r, tt)) { cdone(c, tt); int st = now_ns() >= tend || (maxreq && issued >= (uint64_t)maxreq); if (!st && !open_loop) { csend(c, tt); issued++; } }
    }
  }
  double el = (now_ns() - t0) / 1e9;  // with the drain: what it answers is counted too
  printf("{\"mode\":\"%s\",\"conns\":%d,\"secs\":%.3f,\"reqs\":%lu,\"rps\":%.1f,\"errs\":%lu,\"non2xx\":%lu,\"incomplete\":%lu,\"conns_made\":%lu,\"bytes\":%lu,\"lat_p50\":%.0f,\"lat_p90\":%.0f,\"lat_p99\":%.0f,\"lat_p999\":%.0f,\"lat_max\":%.0f,\"ttfb_p50\":%.0f,\"ttfb_p99\":%.0f,\"chunks\":%lu,\"chunks_ps\":%.0f,\"chunk_p50\":%.0f,\"chunk_p99\":%.0f,\"chunk_p999\":%.0f,\"chunk_max\":%.0f}\n",
    mode, nc, el, done, done / el, errs, non2xx, incomplete, conns_made, bytes, hq(&lat, .5), hq(&lat, .9), hq(&lat, .99), hq(&lat, .999), lat.max, hq(&ttfb, .5), hq(&ttfb, .99), chunks, chunks / el, hq(&chk, .5), hq(&chk, .99), hq(&chk, .999), chk.max);
  return 0;
}
