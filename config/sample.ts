import { defineCage } from 'menagerie'

const routes = {
  'GET /hello/:name': 'greeter.hello',
  'GET /welcome/:name': 'greeter.welcome',
}

export default defineCage({
  interfaces: {
    web: { kind: 'http', port: 8080, routes, handler: 'pages.serve' },
    secure: { kind: 'http', port: 8443, tls: { selfSigned: true }, routes, handler: 'pages.serve' },
  },
})
