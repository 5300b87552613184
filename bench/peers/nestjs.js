/** NestJS microservices over NATS. Its decorators are called as the functions that they are. */
import 'reflect-metadata'
import { Controller, Logger, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ClientProxyFactory, MessagePattern, Payload, Transport } from '@nestjs/microservices'
import { firstValueFrom, timeout } from 'rxjs'

const SUBJECT = 'nestjs.target.hello'

export async function respond(url) {
  class Target {
    hello([name]) {
      return { greeting: `Hello, ${name}!`, n: 1 }
    }
  }
  class App {}
  MessagePattern(SUBJECT)(Target.prototype, 'hello', Object.getOwnPropertyDescriptor(Target.prototype, 'hello'))
  Payload()(Target.prototype, 'hello', 0)
  Controller()(Target)
  Module({ controllers: [Target] })(App)
  const app = await NestFactory.createMicroservice(App, {
    logger: false,
    transport: Transport.NATS,
    options: { servers: [url], queue: 'nestjs' },
  })
  await app.listen()
}

export async function connect(url) {
  Logger.overrideLogger(false) // else it writes of every change of the connection
  const client = ClientProxyFactory.create({ transport: Transport.NATS, options: { servers: [url] } })
  await client.connect()
  return {
    call: () => firstValueFrom(client.send(SUBJECT, ['World']).pipe(timeout(5000))),
    close: () => client.close(),
  }
}
