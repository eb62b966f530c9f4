// A small multi-tenant service on NestJS: companies have workspaces, workspaces
// have domains, users log in. A Go test says which version it is and what that
// version has wrong; it ends when its stdin does, that is also when the test dies.
//
//   node app.mjs '{"version": "2", "database": "postgres://...", "faults": ["report"]}'
//
// It prints {"port": n} once it listens. Decorators are called by hand: this is
// plain JavaScript, and needs no build.
import 'reflect-metadata';
import { Controller, Get, HttpException, Inject, Module, Post, Query } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthCheckService, HealthIndicatorService, TerminusModule } from '@nestjs/terminus';
import pg from 'pg';
import prometheus from 'prom-client';

const { version, database, faults = [] } = JSON.parse(process.argv[2]);
const has = (fault) => faults.includes(fault);
const pool = new pg.Pool({ connectionString: database, max: 4 });
pool.on('error', (error) => console.error(error));

const duration = new prometheus.Histogram({
  name: 'http_request_duration_seconds',
  help: 'Duration of requests.',
  labelNames: ['method', 'route', 'status_code', 'version'],
  buckets: [0.005, 0.025, 0.1, 0.5, 2.5],
});
prometheus.collectDefaultMetrics();

// measure is what such services do in a middleware.
function measure(request, response, next) {
  const stop = duration.startTimer({ method: request.method, version });
  response.on('finish', () => stop({ route: request.route?.path ?? request.path, status_code: response.statusCode }));
  next();
}

class Users {
  list() {
    return pool.query('SELECT id, name FROM users ORDER BY id LIMIT 5').then(({ rows }) => rows);
  }

  // The version before the migration reads a column here that the migration drops,
  // and the new version was forgotten to be changed.
  report() {
    return pool.query('SELECT count(nickname)::int AS nicknames FROM users').then(({ rows }) => rows[0]);
  }

  async login(tenant) {
    if (has(`login:${tenant}`)) throw new HttpException('the directory of this tenant is not configured', 500);
    const { rowCount } = await pool.query('SELECT FROM companies WHERE slug = $1', [tenant]);
    return { ok: rowCount === 1 };
  }

  // A domain belongs to a workspace, and to the company of that workspace.
  async addDomain(tenant) {
    const company = has('cross-tenant') ? 'id <> w.company_id' : 'id = w.company_id';
    await pool.query(
      `INSERT INTO domains (workspace_id, company_id)
       SELECT w.id, (SELECT id FROM companies WHERE ${company} LIMIT 1)
       FROM workspaces w JOIN companies c ON c.id = w.company_id WHERE c.slug = $1 LIMIT 1`, [tenant]);
    return { ok: true };
  }
}

class Operations {
  constructor(health, indicators) {
    this.health = health;
    this.indicators = indicators;
  }

  check() {
    return this.health.check([async () => {
      const indicator = this.indicators.check('database');
      return pool.query('SELECT 1').then(() => indicator.up({ version }), (error) => indicator.down(error.message));
    }]);
  }

  metrics() {
    return prometheus.register.metrics();
  }
}

// route makes a method answer requests; each parameter is one of the query.
function route(type, method, answers, ...parameters) {
  parameters.forEach((name, i) => Query(name)(type.prototype, method, i));
  answers(type.prototype, method, Object.getOwnPropertyDescriptor(type.prototype, method));
}
route(Users, 'list', Get('users'));
route(Users, 'report', Get('report'));
route(Users, 'login', Get('features/login'), 'tenant');
route(Users, 'addDomain', Post('domains'), 'tenant');
route(Operations, 'check', Get('health'));
route(Operations, 'metrics', Get('metrics'));
Controller()(Users);
Controller()(Operations);
Inject(HealthCheckService)(Operations, undefined, 0);
Inject(HealthIndicatorService)(Operations, undefined, 1);

class App {}
Module({ imports: [TerminusModule.forRoot({ logger: false })], controllers: [Users, Operations] })(App);

const app = await NestFactory.create(App, { logger: ['error'] });
app.use(measure);
await app.listen(0, '127.0.0.1');
process.stdout.write(JSON.stringify({ port: app.getHttpServer().address().port }) + '\n');

process.stdin.resume();
process.stdin.on('end', async () => {
  app.getHttpServer().closeAllConnections();
  await app.close();
  await pool.end();
  process.exit(0);
});
